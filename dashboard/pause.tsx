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

type PauseOrResume = 'pause' | 'resume';

export function PauseButton({ pool, about, paused, known }: PauseButtonProps) {
  const token = useToken();
  const [asked, setAsked] = useState<PauseOrResume>();
  return (
    <>
      {about.actions !== 'none' && token !== undefined && known && (
        <button type="button" class="button" onClick={() => setAsked(paused ? 'resume' : 'pause')}>
          <Icon name={paused ? 'play' : 'pause'} />
          {paused ? 'Resume' : 'Pause'}
        </button>
      )}
      {asked !== undefined && <Confirm pool={pool} asked={asked} onClose={() => setAsked(undefined)} />}
    </>
  );
}

interface ConfirmProps {
  readonly pool: string;
  readonly asked: PauseOrResume;
  readonly onClose: () => void;
}

function Confirm({ pool, asked, onClose }: ConfirmProps) {
  const { busy, error, run } = useAction();
  const reason = useRef<HTMLInputElement>(null);
  const word = asked === 'pause' ? 'Pause' : 'Resume';

  async function perform(): Promise<void> {
    await sendAction(
      pool,
      asked === 'pause' ? { do: asked, reason: reason.current?.value ?? '' } : { do: asked },
    );
    onClose();
  }

  return (
    <Dialog
      title={`${word} ${pool}`}
      confirm={word}
      busy={busy}
      error={error}
      onClose={onClose}
      onConfirm={() => void run(perform)}
    >
      {asked === 'resume' ? (
        <p>Workers start tasks again within a second.</p>
      ) : (
        <>
          <p>
            Workers start no more tasks from its queues; running tasks finish, and clients can still push. The
            pause lasts until someone resumes it.
          </p>
          <label class="field">
            Reason, shown to everyone
            <input ref={reason} type="text" maxLength={200} autocomplete="off" />
          </label>
        </>
      )}
    </Dialog>
  );
}
