/**
 * Which rows of a long list are worth drawing: those in sight, and some above and below, so that the keyboard's focus finds
 * a next one. A thousand pools then cost as much as forty.
 */
import { useLayoutEffect, useState } from 'preact/hooks';
import type { RefObject } from 'preact';

const MARGIN = 12;

export interface Range {
  readonly from: number;
  readonly to: number;
}

/** `rowHeight` in CSS pixels; `list`: the element that contains the rows. */
export function useVisible(list: RefObject<HTMLElement | null>, total: number, rowHeight: number): Range {
  const [range, setRange] = useState<Range>({ from: 0, to: 40 });
  useLayoutEffect(() => {
    let frame = 0;
    const look = (): void => {
      frame = 0;
      const top = list.current?.getBoundingClientRect().top ?? 0;
      const first = Math.floor(-top / rowHeight);
      const fits = Math.ceil(window.innerHeight / rowHeight);
      const from = Math.max(0, Math.min(first, total) - MARGIN);
      const to = Math.max(from, Math.min(total, first + fits + MARGIN));
      setRange((before) => (before.from === from && before.to === to ? before : { from, to }));
    };
    const soon = (): void => {
      frame ||= requestAnimationFrame(look);
    };
    look();
    window.addEventListener('scroll', soon, { passive: true });
    window.addEventListener('resize', soon);
    return () => {
      cancelAnimationFrame(frame);
      window.removeEventListener('scroll', soon);
      window.removeEventListener('resize', soon);
    };
  }, [total, rowHeight]);
  return { from: Math.min(range.from, total), to: Math.min(range.to, total) };
}

/** Whether a media query matches, kept up to date. */
export function useMedia(query: string): boolean {
  const [holds, setHolds] = useState(() => matchMedia(query).matches);
  useLayoutEffect(() => {
    const list = matchMedia(query);
    const change = (): void => setHolds(list.matches);
    list.addEventListener('change', change);
    return () => list.removeEventListener('change', change);
  }, [query]);
  return holds;
}

/** The time, updated every second, for relative times. */
export function useNow(skew: number): number {
  const [now, setNow] = useState(Date.now());
  useLayoutEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  return now + skew;
}
