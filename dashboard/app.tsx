/** Which page is shown, and what is kept of the list while a pool is. */
import { useEffect, useRef } from 'preact/hooks';
import { PoolView } from './pool.tsx';
import { PoolsView, type ListView } from './pools.tsx';
import { useRoute } from './route.ts';

export function App() {
  const place = useRoute();
  const { key, range } = place.page === 'pool' ? place : {};
  const list = useRef<ListView>({
    search: '',
    filter: 'all',
    order: { by: 'name', down: false },
    scrolled: 0,
  });
  useEffect(() => {
    document.title = key === undefined ? 'Pools · Millrace' : `${key} · Millrace`;
    window.scrollTo(0, 0);
  }, [key]);
  return key === undefined ? <PoolsView kept={list} /> : <PoolView key={key} name={key} range={range} />;
}
