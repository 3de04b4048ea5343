import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';

/** A titled part of a page. */
export function Section({
  title,
  note,
  children,
  tools,
}: {
  title: string;
  note?: string | undefined;
  tools?: ComponentChildren;
  children: ComponentChildren;
}) {
  const id = useId();
  return (
    <section class="card" aria-labelledby={id}>
      <header>
        {/* gets the focus of what disappears from the section */}
        <h2 id={id} tabIndex={-1}>
          {title}
        </h2>
        {note !== undefined && <span class="note">{note}</span>}
        {tools}
      </header>
      {children}
    </section>
  );
}

/** The text of an empty section. */
export function Nothing({ children }: { children: ComponentChildren }) {
  return <p class="nothing">{children}</p>;
}
