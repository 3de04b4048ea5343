/** A text as a sentence: a capital letter first, a full stop last where it has no end of its own. Pure. */
export function sentence(text: string): string {
  const whole = text.slice(0, 1).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}
