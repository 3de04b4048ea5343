/** A modal question: the browser's own dialog traps the focus and restores it. */
import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';

export interface DialogProps {
  readonly open: boolean;
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
  const { open, title, confirm, dismiss = 'Cancel', danger, busy, error } = props;
  const { onClose, onConfirm, children } = props;
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open) element.current?.showModal();
    else element.current?.close();
  }, [open]);
  if (!open) return null;
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
          onConfirm();
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
          <button type="submit" class={`button ${danger ? 'danger' : 'primary'}`} disabled={busy}>
            {confirm}
          </button>
        </div>
      </form>
    </dialog>
  );
}
