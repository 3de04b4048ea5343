/** Tasks that failed for good, with actions on them. */
import { useState } from 'preact/hooks';
import type { About, DeadRow, DeadView } from '../controller/dashboard/api.ts';
import { Dialog } from './dialog.tsx';
import { ago, clock, formatCount, plural } from './format.ts';
import { Nothing, Section } from './section.tsx';
import { sendAction, useToken } from './session.ts';
import { useAction } from './use-action.ts';

export interface DeadLetterListProps {
  readonly pool: string;
  readonly dead: DeadView | null;
  readonly about: About;
  readonly now: number;
}

const FIRST = 8;

interface Asked {
  readonly how: 'requeue' | 'drop';
  readonly refs: readonly string[] | 'all';
  /** When it was asked. */
  readonly count: number;
}

export function DeadLetterList(props: DeadLetterListProps) {
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [asked, setAsked] = useState<Asked>();
  const [said, setSaid] = useState('');
  return (
    <>
      <List {...props} said={said} chosen={chosen} onChoose={setChosen} onAsk={setAsked} />
      {asked && (
        <Confirm
          pool={props.pool}
          asked={asked}
          onClose={() => setAsked(undefined)}
          onDone={(how, done) => {
            setAsked(undefined);
            setChosen(new Set());
            setSaid(`${plural(done, 'dead letter')} ${how === 'requeue' ? 'requeued' : 'dropped'}`);
          }}
        />
      )}
    </>
  );
}

interface ListProps extends DeadLetterListProps {
  readonly said: string;
  readonly chosen: ReadonlySet<string>;
  readonly onChoose: (refs: ReadonlySet<string>) => void;
  readonly onAsk: (asked: Asked) => void;
}

function List({ dead, about, now, said, chosen, onChoose, onAsk }: ListProps) {
  const token = useToken();
  const [more, setMore] = useState(false);
  if (!dead || dead.all === 0)
    return (
      <Section title="Dead letters">
        <p class="sr" role="status">
          {said}
        </p>
        <Nothing>
          {dead ? 'No task has failed for good.' : 'Redis does not answer: the dead letters are unknown.'}
        </Nothing>
      </Section>
    );
  const { all, list } = dead;
  const acting = about.actions !== 'none' && token !== undefined;
  const refs = list.filter(({ ref }) => chosen.has(ref)).map(({ ref }) => ref);
  const ask = (how: Asked['how']): void => {
    if (refs.length > 0) return onAsk({ how, refs, count: refs.length });
    // those on the page, not those that arrive while one reads the question
    onAsk({ how, refs: all > list.length ? 'all' : list.map(({ ref }) => ref), count: all });
  };
  // more of them may have come since one was chosen
  const first = Math.max(FIRST, list.findLastIndex(({ ref }) => chosen.has(ref)) + 1);
  const toggle = (ref: string): void => {
    const next = new Set(chosen);
    if (!next.delete(ref)) next.add(ref);
    onChoose(next);
  };
  return (
    <Section
      title="Dead letters"
      note={all > list.length ? `the newest ${list.length} of ${formatCount(all)}` : plural(all, 'task')}
      tools={
        acting && (
          <span class="acts">
            <button type="button" class="button small" onClick={() => ask('requeue')}>
              Requeue {refs.length > 0 ? formatCount(refs.length) : 'all'}
            </button>
            <button type="button" class="button small danger" onClick={() => ask('drop')}>
              Drop {refs.length > 0 ? formatCount(refs.length) : 'all'}
            </button>
          </span>
        )
      }
    >
      <p class="sr" role="status">
        {said}
      </p>
      <ul class="letters">
        {list.slice(0, more ? undefined : first).map((letter) => (
          <Letter
            key={`${letter.ref} ${letter.at}`}
            letter={letter}
            now={now}
            chosen={acting ? chosen.has(letter.ref) : undefined}
            onToggle={() => toggle(letter.ref)}
          />
        ))}
      </ul>
      {list.length > first && (
        <button type="button" class="button small more" onClick={() => setMore(!more)}>
          {more ? 'Show fewer' : `Show ${list.length - first} more`}
        </button>
      )}
      {!about.showTasks && (
        <p class="hint">
          Tasks, ids and error messages are not shown here. <code>millrace dead list</code> shows them to
          anyone who can reach Redis.
        </p>
      )}
    </Section>
  );
}

interface LetterProps {
  readonly letter: DeadRow;
  readonly now: number;
  /** `undefined` if nothing can be chosen. */
  readonly chosen: boolean | undefined;
  readonly onToggle: () => void;
}

function Letter({ letter, now, chosen, onToggle }: LetterProps) {
  const { at, attempts, deliveries, worker, error, id, text } = letter;
  const name = id ?? 'task';
  return (
    <li>
      {chosen !== undefined && (
        <input
          type="checkbox"
          checked={chosen}
          onChange={onToggle}
          aria-label={at === null ? `Choose ${name}` : `Choose ${name} of ${clock(at, now)}`}
        />
      )}
      <div>
        <p class="error">{error}</p>
        <p class="sub">
          {id !== null && <code title={text ?? undefined}>{id}</code>}
          {at !== null && <span>{ago(at, now)}</span>}
          <span>
            {deliveries === null ? plural(attempts, 'attempt') : plural(deliveries, 'delivery', 'deliveries')}
          </span>
          <span class="id">{worker}</span>
        </p>
      </div>
    </li>
  );
}

interface ConfirmProps {
  readonly pool: string;
  readonly asked: Asked;
  readonly onClose: () => void;
  readonly onDone: (how: Asked['how'], count: number) => void;
}

function Confirm({ pool, asked, onClose, onDone }: ConfirmProps) {
  const { busy, error, run } = useAction();
  const { how, refs } = asked;
  const perform = async (): Promise<void> => onDone(how, await sendAction(pool, { do: how, refs }));
  const letters = `${refs === 'all' ? 'all ' : ''}${plural(asked.count, 'dead letter')}`;
  return (
    <Dialog
      title={how === 'requeue' ? `Requeue ${letters}?` : `Drop ${letters}?`}
      confirm={how === 'requeue' ? 'Requeue' : 'Drop'}
      danger={how === 'drop'}
      busy={busy}
      error={error}
      onClose={onClose}
      onConfirm={() => void run(perform)}
    >
      <p>
        {how === 'requeue'
          ? 'They go to the back of the queue as new tasks, with all their attempts again.'
          : 'They and their errors are deleted. This cannot be undone.'}
        {refs === 'all' && ' Those that are added until then are included.'}
      </p>
    </Dialog>
  );
}
