/** Why a batch was not added, or not all of it. */

/** A batch with this id exists, or existed within the last week. */
export class BatchExists extends Error {
  override name = 'BatchExists';
  constructor(id: string) {
    super(`a batch "${id}" exists already, or ended within the last week: choose another id, or none`);
  }
}

/** The batch was cancelled, or a part of it failed, while parts were still being added to it. */
export class BatchCancelled extends Error {
  override name = 'BatchCancelled';
  /** Of the batch. */
  readonly id: string;
  constructor(id: string, why: string) {
    super(`batch "${id}" ended while parts were being added to it, the rest was not pushed: ${why}`);
    this.id = id;
  }
}
