/**
 * A modal question, open for as long as it is rendered: the browser's own dialog traps the focus, and gives it back when it is
 * closed. What it asks must not depend on live data: it would change, or vanish, under the hands of the one who answers.
 */
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';

export interface DialogProps {
  readonly title: string;
  /** The label of the confirming button. */
  readonly confirm: string;
  /** The label of the other one; `Cancel` by default. */
  readonly dismiss?: string;
  /** It cannot be undone. */
  readonly danger?: boolean;
  readonly busy?: boolean;
  readonly error?: string | undefined;
  readonly onClose: () => void;
  readonly onConfirm: () => void;
  readonly children: ComponentChildren;
}

export function Dialog(props: DialogProps) {
  const { title, confirm, dismiss = 'Cancel', danger, busy = false, error } = props;
  const { onClose, onConfirm, children } = props;
  const element = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    const dialog = element.current;
    dialog?.showModal();
    // a dialog that is only removed does not give the focus back
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={element}
      aria-labelledby="dialog-title"
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (!busy) onConfirm();
        }}
      >
        <h2 id="dialog-title">{title}</h2>
        {children}
        {error !== undefined && (
          <p class="refused" role="alert">
            {error}
          </p>
        )}
        <div class="choices">
          <button type="button" class="button" onClick={onClose}>
            {dismiss}
          </button>
          {/* a disabled button would lose the focus */}
          <button type="submit" class={`button ${danger ? 'danger' : 'primary'}`} aria-disabled={busy}>
            {confirm}
          </button>
        </div>
      </form>
    </dialog>
  );
}
