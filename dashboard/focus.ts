/**
 * Keeps the keyboard's focus where live data moves or removes the element that has it. One that was moved gets it back.
 * In place of one that is gone, the title of its section gets it, or the content of the page, so that Tab goes on from there
 * and a screen reader says where that is.
 */

/** `root`: the element that the page is drawn into. */
export function keepFocus(root: HTMLElement): void {
  let held: { readonly element: HTMLElement; readonly sections: readonly Element[] } | undefined;
  const lost = (): boolean => document.activeElement === null || document.activeElement === document.body;

  root.addEventListener('focusin', ({ target }) => {
    if (target instanceof HTMLElement) held = { element: target, sections: sectionsAround(target) };
  });
  // given up by a click beside it; what was moved or removed is seen by the observer before
  root.addEventListener('focusout', () =>
    setTimeout(() => {
      if (lost()) held = undefined;
    }),
  );
  new MutationObserver((records) => {
    if (!held || !lost()) return;
    const { element, sections } = held;
    if (!records.some(({ removedNodes }) => [...removedNodes].some((node) => node.contains(element)))) return;
    const section = sections.find((one) => one.isConnected);
    const instead = section?.querySelector<HTMLElement>('h2') ?? document.getElementById('content');
    (element.isConnected ? element : instead)?.focus({ preventScroll: true });
  }).observe(root, { childList: true, subtree: true });
}

/** The innermost first. */
function sectionsAround(element: Element): Element[] {
  const sections: Element[] = [];
  for (let at = element.closest('section'); at; at = at.parentElement?.closest('section') ?? null)
    sections.push(at);
  return sections;
}
