/** What a person must fix before the source can be read. Nothing was written. */
export class SourceTrouble extends Error {
  override name = 'SourceTrouble';
  /** `NotFound`: nothing of the library has these names; `UnknownLayout`: its keys are there, in an unknown form. */
  readonly kind: 'NotFound' | 'UnknownLayout';
  /** The problem and its remedy, which the message combines. */
  readonly note: string;
  readonly todo: string;
  constructor(kind: SourceTrouble['kind'], note: string, todo: string) {
    super(`${note}; ${todo}`);
    this.kind = kind;
    this.note = note;
    this.todo = todo;
  }
}
