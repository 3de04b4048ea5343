/** The pool's batches: how far each is, how long it takes, and what it waits for; with an action to cancel one. */
import { useRef, useState } from 'preact/hooks';
import type { About, BatchesView, BatchRow } from '../controller/dashboard/api.ts';
import { barOf, describeBatch, isOver, paceOf, stateOf } from './batch-text.ts';
import { Dialog } from './dialog.tsx';
import { ago, clock, formatCount, formatMs, plural } from './format.ts';
import { Nothing, Section } from './section.tsx';
import { sendAction, useToken } from './session.ts';
import { useAction } from './use-action.ts';

export interface BatchListProps {
  readonly pool: string;
  /** `undefined` where the controller is of an earlier version. */
  readonly batches: BatchesView | null | undefined;
  readonly about: About;
  readonly now: number;
}

const FIRST = 5;

/** Nothing for a pool that has none. */
export function BatchList(props: BatchListProps) {
  const [asked, setAsked] = useState<BatchRow>();
  const [said, setSaid] = useState('');
  return (
    <>
      <List {...props} said={said} onAsk={setAsked} />
      {asked && (
        <Confirm
          pool={props.pool}
          batch={asked}
          now={props.now}
          onClose={() => setAsked(undefined)}
          onDone={(count) => {
            setAsked(undefined);
            setSaid(count > 0 ? 'The batch is being cancelled' : 'The batch was over already');
          }}
        />
      )}
    </>
  );
}

interface ListProps extends BatchListProps {
  readonly said: string;
  readonly onAsk: (batch: BatchRow) => void;
}

function List({ batches, about, now, said, onAsk }: ListProps) {
  const token = useToken();
  const [more, setMore] = useState(false);
  const had = useRef(false);
  had.current ||= (batches?.list.length ?? 0) > 0;
  if (!had.current) return null;
  if (!batches)
    return (
      <Section title="Batches">
        <Nothing>Redis does not answer: the batches are unknown.</Nothing>
      </Section>
    );
  const { open, ended, list } = batches;
  const acting = about.actions !== 'none' && token !== undefined;
  const several = new Set(list.map(({ queue }) => queue)).size > 1;
  const shownOpen = list.filter((batch) => !isOver(batch)).length;
  const notes = [
    open > shownOpen ? `${shownOpen} of ${formatCount(open)} open` : `${formatCount(open)} open`,
    `${formatCount(ended)} ended within a week`,
  ];
  return (
    <Section title="Batches" note={notes.join(', ')}>
      <p class="sr" role="status">
        {said}
      </p>
      {list.length === 0 && <Nothing>No batch is left.</Nothing>}
      <ul class="batches">
        {list.slice(0, more ? undefined : FIRST).map((batch) => (
          <Batch
            key={batch.ref}
            batch={batch}
            several={several}
            now={now}
            onCancel={acting && !isOver(batch) ? () => onAsk(batch) : undefined}
          />
        ))}
      </ul>
      {list.length > FIRST && (
        <button type="button" class="button small more" onClick={() => setMore(!more)}>
          {more ? 'Show fewer' : `Show ${list.length - FIRST} more`}
        </button>
      )}
      {!about.showTasks && (
        <p class="hint">
          Ids of batches are not shown here. <code>millrace batch list</code> shows them to anyone who can
          reach Redis.
        </p>
      )}
    </Section>
  );
}

interface BatchProps {
  readonly batch: BatchRow;
  readonly several: boolean;
  readonly now: number;
  /** `undefined` if it cannot be cancelled. */
  readonly onCancel: (() => void) | undefined;
}

const nameOf = ({ id, createdAt }: BatchRow, now: number): string =>
  id ?? `Batch of ${clock(createdAt, now)}`;

function Batch({ batch, several, now, onCancel }: BatchProps) {
  const { id, queue, size, succeeded, failed, cancelled, left, createdAt, endedAt } = batch;
  const state = stateOf(batch);
  const why = describeBatch(batch, now);
  const pace = paceOf(batch);
  const name = nameOf(batch, now);
  return (
    <li>
      <p class="what">
        {id === null ? <b>{name}</b> : <b class="id">{id}</b>}
        <span class={`tag ${state.tone}`}>{state.text}</span>
        {onCancel && (
          <button type="button" class="button small danger" aria-label={`Cancel ${name}`} onClick={onCancel}>
            Cancel
          </button>
        )}
      </p>
      <Bar batch={batch} name={name} />
      <p class="sub">
        <span>
          {formatCount(succeeded)} of {formatCount(size)} done
        </span>
        {failed > 0 && <span class="failed">{formatCount(failed)} failed</span>}
        {cancelled > 0 && <span>{formatCount(cancelled)} cancelled</span>}
        {left > 0 && <span>{formatCount(left)} left</span>}
        {pace !== undefined && <span class="eta">{pace}</span>}
        {several && <span>queue {queue}</span>}
        {endedAt === null ? (
          <span>begun {ago(createdAt, now)}</span>
        ) : (
          <span>
            ended {ago(endedAt, now)}, took {formatMs(Math.max(0, endedAt - createdAt))}
          </span>
        )}
      </p>
      {why !== undefined && <p class="sub why">{why}</p>}
    </li>
  );
}

function Bar({ batch, name }: { batch: BatchRow; name: string }) {
  const bar = barOf(batch);
  return (
    <div
      class="bar"
      role="progressbar"
      aria-label={name}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.floor(bar.ended / 10)}
      aria-valuetext={`${Math.floor(bar.ended / 10)} %`}
    >
      <svg viewBox="0 0 1000 6" preserveAspectRatio="none" aria-hidden="true">
        {bar.pieces.map(({ of, from, width }) => (
          <rect key={of} class={of} x={from} y="0" width={width} height="6" />
        ))}
      </svg>
    </div>
  );
}

interface ConfirmProps {
  readonly pool: string;
  readonly batch: BatchRow;
  readonly now: number;
  readonly onClose: () => void;
  readonly onDone: (count: number) => void;
}

function Confirm({ pool, batch, now, onClose, onDone }: ConfirmProps) {
  const { busy, error, run } = useAction();
  const { ref, left } = batch;
  const perform = async (): Promise<void> => onDone(await sendAction(pool, { do: 'cancel-batch', ref }));

  return (
    <Dialog
      title={
        batch.id === null ? `Cancel the batch of ${clock(batch.createdAt, now)}?` : `Cancel ${batch.id}?`
      }
      confirm="Cancel the batch"
      dismiss="Keep it"
      danger
      busy={busy}
      error={error}
      onClose={onClose}
      onConfirm={() => void run(perform)}
    >
      <p>
        {plural(left, 'part has', 'parts have')} not ended: those that wait are not run, and those that run
        are aborted. The task that follows is not pushed. This cannot be undone.
      </p>
    </Dialog>
  );
}
