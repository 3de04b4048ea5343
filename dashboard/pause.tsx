/** Pauses and resumes a pool's queues, for users with permission. */
import { useRef, useState } from 'preact/hooks';
import type { About } from '../controller/dashboard/api.ts';
import { Dialog } from './dialog.tsx';
import { Icon } from './icons.tsx';
import { sendAction, useToken } from './session.ts';
import { useAction } from './use-action.ts';

export interface PauseButtonProps {
  readonly pool: string;
  readonly about: About;
  readonly paused: boolean;
  readonly known: boolean;
}

export function PauseButton({ pool, about, paused, known }: PauseButtonProps) {
  const token = useToken();
  const [open, setOpen] = useState(false);
  const { busy, error, run } = useAction();
  const reason = useRef<HTMLInputElement>(null);
  if (about.actions === 'none' || token === undefined || !known) return null;

  async function perform(): Promise<void> {
    await sendAction(pool, paused ? { do: 'resume' } : { do: 'pause', reason: reason.current?.value ?? '' });
    setOpen(false);
  }

  return (
    <>
      <button type="button" class="button" onClick={() => setOpen(true)}>
        <Icon name={paused ? 'play' : 'pause'} />
        {paused ? 'Resume' : 'Pause'}
      </button>
      <Dialog
        open={open}
        title={paused ? `Resume ${pool}` : `Pause ${pool}`}
        confirm={paused ? 'Resume' : 'Pause'}
        busy={busy}
        error={error}
        onClose={() => setOpen(false)}
        onConfirm={() => void run(perform)}
      >
        {paused ? (
          <p>Workers start tasks again within a second.</p>
        ) : (
          <>
            <p>
              Workers start no more tasks from its queues; running tasks finish, and clients can still push.
              The pause lasts until someone resumes it.
            </p>
            <label class="field">
              Reason, shown to everyone
              <input ref={reason} type="text" maxLength={200} autocomplete="off" />
            </label>
          </>
        )}
      </Dialog>
    </>
  );
}
