/** Which primary has which slot, as far as it is known. */
import { endpointName, type Endpoint } from '../address.ts';
import { SLOTS, type SlotRange } from './slots.ts';

export interface SlotTable {
  /** `undefined` while no node is known to have it. */
  ownerOf(slot: number): Endpoint | undefined;
  /** Resolves to whether that is a change. */
  set(slot: number, owner: Endpoint): boolean;
  /**
   * Applies what a node returned, where it can be trusted more than what is known: for slots without an owner, and for those whose
   * owner `isDoubtful`. A node that has not yet heard of a change must not undo it. Returns the slots that changed.
   */
  apply(ranges: readonly SlotRange[], isDoubtful: (owner: Endpoint) => boolean): Set<number>;
  /** A slot of each owner. */
  slotOfEach(): number[];
  /** Whether no slot has an owner. */
  readonly empty: boolean;
}

export function createSlotTable(): SlotTable {
  const owners = Array.from<Endpoint | undefined>({ length: SLOTS });
  let empty = true;

  function set(slot: number, owner: Endpoint): boolean {
    const before = owners[slot];
    if (before && endpointName(before) === endpointName(owner)) return false;
    owners[slot] = owner;
    empty = false;
    return true;
  }

  return {
    ownerOf: (slot) => owners[slot],
    set,
    apply: (ranges, isDoubtful) => {
      const doubtful = new Map<Endpoint, boolean>();
      const changed = new Set<number>();
      for (const { from, to, primary } of ranges) {
        for (let slot = from; slot <= to; slot++) {
          const owner = owners[slot];
          if (owner && !doubtful.has(owner)) doubtful.set(owner, isDoubtful(owner));
          if (owner && !doubtful.get(owner)) continue;
          if (set(slot, primary)) changed.add(slot);
        }
      }
      return changed;
    },
    slotOfEach: () => {
      const slots = new Map<string, number>();
      for (const [slot, owner] of owners.entries()) if (owner) slots.set(endpointName(owner), slot);
      return [...slots.values()];
    },
    get empty() {
      return empty;
    },
  };
}
