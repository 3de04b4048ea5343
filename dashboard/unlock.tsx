/** Shows whether actions are allowed, and accepts the token. */
import { useRef, useState } from 'preact/hooks';
import type { About } from '../controller/dashboard/api.ts';
import { Dialog } from './dialog.tsx';
import { Icon } from './icons.tsx';
import { setToken, useToken } from './session.ts';

export function Unlock({ about }: { about: About | undefined }) {
  const token = useToken();
  const [open, setOpen] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  if (!about) return null;
  if (about.actions === 'none')
    return (
      <span
        class="tool still"
        title="This dashboard was started without a token: nothing can be changed here"
      >
        <Icon name="lock" />
        <span class="wide">Read-only</span>
      </span>
    );
  if (token !== undefined) {
    const word = about.actions === 'rights' ? 'Sign out' : 'Lock';
    return (
      <button type="button" class="tool" onClick={() => setToken(undefined)} title="Forget the token">
        <Icon name="unlock" />
        <span class="wide">{word}</span>
        <span class="narrow sr">{word}</span>
      </button>
    );
  }
  return (
    <>
      <button type="button" class="tool" onClick={() => setOpen(true)}>
        <Icon name="lock" />
        <span class="wide">Unlock</span>
        <span class="narrow sr">Unlock</span>
      </button>
      {open && (
        <Dialog
          title="Unlock actions"
          confirm="Unlock"
          onClose={() => setOpen(false)}
          onConfirm={() => {
            const value = field.current?.value.trim() ?? '';
            if (value === '') return field.current?.focus();
            setToken(value);
            setOpen(false);
          }}
        >
          <p>
            Pausing queues and moving dead letters requires the dashboard's token. It is kept in this tab
            only, and checked with the first action.
          </p>
          <label class="field">
            Token
            <input ref={field} type="password" autocomplete="off" spellcheck={false} required />
          </label>
        </Dialog>
      )}
    </>
  );
}
