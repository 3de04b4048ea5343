/**
 * The ids of a batch's parts while its client adds them: of several with one id, the first is added. Of parts whose ids are made from their
 * numbers nothing is remembered.
 */
export interface PartIds {
  /** Of the part with this number, from 0. Returns whether no part before it has the id. */
  add(number: number, id: string): boolean;
}

export function createPartIds(batch: string): PartIds {
  const given = new Set<string>();
  /** Numbers of the parts that have an id of their own. */
  const ownAt = new Set<number>();
  const prefix = `${batch}:`.toWellFormed();

  /** The number of an earlier part that was given this id because it had none. */
  const isMadeBefore = (number: number, id: string): boolean => {
    if (!id.startsWith(prefix)) return false;
    const other = Number(id.slice(prefix.length));
    return `${prefix}${other}` === id && Number.isSafeInteger(other) && other < number && !ownAt.has(other);
  };
  return {
    add: (number, text) => {
      // as Redis gets it
      const id = text.toWellFormed();
      const own = id !== `${prefix}${number}`;
      if (own) ownAt.add(number);
      if (given.size > 0 && given.has(id)) return false;
      if (own && isMadeBefore(number, id)) return false;
      if (own) given.add(id);
      return true;
    },
  };
}
