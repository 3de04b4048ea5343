import type { DecisionView } from '../controller/dashboard/api.ts';
import { clock } from './format.ts';
import { Icon } from './icons.tsx';
import { Nothing, Section } from './section.tsx';

const FIRST = 8;

/** The decisions with their reasons, newest first. */
export function Decisions({ decisions, now }: { decisions: readonly DecisionView[]; now: number }) {
  const [recent, older] = [decisions.slice(0, FIRST), decisions.slice(FIRST)];
  return (
    <Section title="Decisions">
      {decisions.length === 0 && <Nothing>No decisions yet.</Nothing>}
      <List decisions={recent} now={now} />
      {older.length > 0 && (
        <details class="older">
          <summary>{older.length} older</summary>
          <List decisions={older} now={now} />
        </details>
      )}
    </Section>
  );
}

function List({ decisions, now }: { decisions: readonly DecisionView[]; now: number }) {
  return (
    <ol class="decisions">
      {decisions.map((decision) => (
        <li key={`${decision.at} ${decision.text}`}>
          <time dateTime={new Date(decision.at).toISOString()}>{clock(decision.at, now)}</time>
          <span class={`way ${wayOf(decision)}`}>
            <Icon name={{ up: 'up', down: 'down', same: 'wheel' }[wayOf(decision)] as 'up'} />
          </span>
          <span class="text">{decision.text}</span>
        </li>
      ))}
    </ol>
  );
}

export function wayOf({ from, to }: DecisionView): 'up' | 'down' | 'same' {
  if (from === null || to === null || from === to) return 'same';
  return to > from ? 'up' : 'down';
}
