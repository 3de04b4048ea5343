/** The frame of every page: the head, and the notice that the connection is lost. */
import { useEffect } from 'preact/hooks';
import { PoolView } from './pool.tsx';
import { PoolsView } from './pools.tsx';
import { useRoute } from './route.ts';

export function App() {
  const place = useRoute();
  const { key, range } = place.page === 'pool' ? place : {};
  useEffect(() => {
    document.title = key === undefined ? 'Pools · Millrace' : `${key} · Millrace`;
    window.scrollTo(0, 0);
  }, [key]);
  return key === undefined ? <PoolsView /> : <PoolView key={key} name={key} range={range} />;
}
