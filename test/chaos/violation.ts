/** What a judge of a run has found. */
export interface Violation {
  /** `lost`, `twice`, `unheld`, … */
  readonly kind: string;
  readonly id?: string;
  readonly text: string;
}
