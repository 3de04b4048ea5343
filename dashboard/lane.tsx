/**
 * Decisions where they were made on the timeline: marks that say in words what was decided when one points at them or goes
 * through them with the arrow keys. Those that would lie on one another share a mark.
 */
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { DecisionView } from '../controller/dashboard/api.ts';
import { LEFT, RIGHT } from './chart.tsx';
import { wayOf } from './decisions.tsx';
import { clock } from './format.ts';
import { Icon } from './icons.tsx';

export interface DecisionLaneProps {
  readonly decisions: readonly DecisionView[];
  readonly from: number;
  readonly to: number;
  readonly now: number;
}

/** Closer than this, two marks would touch, px. */
const ROOM = 24;
/** The maximum number of decisions that the text of a mark lists. */
const TOLD = 4;

interface Mark {
  readonly x: number;
  readonly of: readonly DecisionView[];
}

export function DecisionLane({ decisions, from, to, now }: DecisionLaneProps) {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  /** Marks merge and leave as time passes, so both name a decision by its time, not a mark by its place. */
  const [open, setOpen] = useState<number>();
  const [current, setCurrent] = useState<number>();
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const sized = new ResizeObserver(() => setWidth(element.clientWidth - LEFT - RIGHT));
    sized.observe(element);
    return () => sized.disconnect();
  }, []);
  const marks = width > 0 && to > from ? marksOf(decisions, (at) => (width * (at - from)) / (to - from)) : [];
  // a decision that has left the timeline was the oldest
  const reachable = Math.max(0, placeOf(marks, current));
  const go = (event: KeyboardEvent): void => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -marks.length, End: marks.length }[event.key];
    if (event.key === 'Escape') setOpen(undefined);
    if (step === undefined) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(marks.length - 1, reachable + step));
    box.current?.querySelectorAll('button')[next]?.focus();
  };
  const told = marks[placeOf(marks, open)];
  return (
    <div
      ref={box}
      class="lane"
      role="group"
      aria-label="Decisions on the timeline; arrow keys go from one to the next"
    >
      {marks.length === 0 && <span class="empty">no decisions in this time</span>}
      {marks.map(({ x, of }, i) => (
        <button
          // the button that has the focus stays while its decision moves to another mark
          key={i === reachable && current !== undefined ? current : of[0]?.at}
          type="button"
          class={`mark ${wayOf(summary(of))}`}
          style={{ left: `${LEFT + x}px` }}
          tabIndex={i === reachable ? 0 : -1}
          aria-label={wordsOf(of, now)}
          onKeyDown={go}
          onFocus={() => {
            setOpen(of[0]?.at);
            setCurrent(of[0]?.at);
          }}
          onBlur={() => setOpen(undefined)}
          onMouseEnter={() => setOpen(of[0]?.at)}
          onMouseLeave={() => setOpen(undefined)}
        >
          {of.length > 1 ? (
            of.length
          ) : (
            <Icon name={{ up: 'up', down: 'down', same: 'wheel' }[wayOf(summary(of))] as 'up'} />
          )}
        </button>
      ))}
      {told && (
        <div
          class="bubble"
          aria-hidden="true"
          style={{ left: `${Math.max(0, Math.min(told.x + LEFT - 150, width + LEFT + RIGHT - 312))}px` }}
        >
          {told.of.slice(-TOLD).map(({ at, text }) => (
            <p key={`${at} ${text}`}>
              <b>{clock(at, now)}</b> {text}
            </p>
          ))}
          {told.of.length > TOLD && <p class="sub">and {told.of.length - TOLD} before</p>}
        </div>
      )}
    </div>
  );
}

function marksOf(decisions: readonly DecisionView[], xOf: (at: number) => number): Mark[] {
  const marks: { x: number; of: DecisionView[] }[] = [];
  for (const decision of decisions.toSorted((a, b) => a.at - b.at)) {
    const x = xOf(decision.at);
    const last = marks.at(-1);
    if (last && x - last.x < ROOM) last.of.push(decision);
    else marks.push({ x, of: [decision] });
  }
  return marks;
}

/** The index of the mark with the decision of that time, or -1. */
function placeOf(marks: readonly Mark[], at: number | undefined): number {
  return marks.findIndex(({ of }) => of.some((decision) => decision.at === at));
}

/** The combined effect of several decisions. */
function summary(of: readonly DecisionView[]): DecisionView {
  const [first] = of;
  const last = of.at(-1);
  return { at: 0, cause: '', text: '', from: first?.from ?? null, to: last?.to ?? null };
}

function wordsOf(of: readonly DecisionView[], now: number): string {
  const words = of.slice(-TOLD).map(({ at, text }) => `${clock(at, now)}: ${text}`);
  const last = of.length > TOLD ? ', the last of them' : '';
  const before = of.length > 1 ? `${of.length} decisions${last}: ` : '';
  return `${before}${words.join('; ')}`;
}
