import type { ConditionView } from '../controller/dashboard/api.ts';
import { ago } from './format.ts';
import { Icon } from './icons.tsx';
import { Nothing, Section } from './section.tsx';

/** The pool's conditions, as in `kubectl describe`. */
export function Conditions({ conditions, now }: { conditions: readonly ConditionView[]; now: number }) {
  return (
    <Section title="Conditions">
      {conditions.length === 0 && <Nothing>The controller has not reported on this pool yet.</Nothing>}
      <ul class="conditions">
        {conditions.map(({ type, status, reason, message, since, bad }) => (
          <li key={type} class={bad ? 'bad' : undefined}>
            <span class="sign">
              <Icon name={bad ? 'alert' : 'check'} />
            </span>
            <div>
              <p class="what">
                <b>{type}</b> <span class="sub">{`${status} · ${reason}`}</span>
                {since !== null && <span class="sub when">{ago(since, now)}</span>}
              </p>
              <p>{message}</p>
            </div>
          </li>
        ))}
      </ul>
    </Section>
  );
}
