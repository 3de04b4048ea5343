/**
 * Runs many lines somewhere and yields what became of each, with bounded memory however many there are. It knows nothing of
 * Redis: the place where they run is given.
 */

/** A line of the input, without its end. */
export interface Line {
  /** From 1. */
  readonly number: number;
  readonly bytes: Buffer;
}

/** The result, or why there is none. */
export type Outcome = Buffer | Error;

export interface Done {
  readonly line: Line;
  readonly outcome: Outcome;
  /** It was known before, and not run now. */
  readonly recalled: boolean;
}

export interface MapOptions {
  readonly lines: AsyncIterable<readonly Line[]>;
  /** Yield in the order of the lines; otherwise as they end. */
  readonly ordered: boolean;
  /** The result that an earlier run kept. */
  readonly recall: (line: Line) => Promise<Buffer | undefined>;
  /**
   * Begins lines, of which each has its outcome later. An outcome that rejects ends the whole: nothing can be run there
   * any more.
   */
  readonly begin: (lines: readonly Line[]) => readonly Promise<Outcome>[];
  /** Ends the whole with its reason. */
  readonly signal: AbortSignal;
  readonly limits?: Limits;
}

/** How far the lines that are begun may be ahead of what has been yielded. */
export interface Limits {
  readonly lines: number;
  /** Of lines and results that are held. Results that are awaited count as the mean one. */
  readonly bytes: number;
}

const LIMITS: Limits = { lines: 10_000, bytes: 64 << 20 };
/** Lines that are begun together. */
const CHUNK = 1_000;

/** Yields each line once, in batches. Throws what `lines`, `recall` or an outcome threw, and the signal's reason. */
export async function* mapLines(options: MapOptions): AsyncGenerator<readonly Done[]> {
  const { lines, ordered, recall, begin, signal, limits = LIMITS } = options;
  const held = createHeld(limits);
  const finished = ordered ? createOrdered() : createUnordered();
  let changed = Promise.withResolvers<void>();
  const state: { input: 'open' | 'closed'; failure?: { readonly error: unknown } } = { input: 'open' };
  let over = false;

  function notify(): void {
    changed.resolve();
    changed = Promise.withResolvers();
  }

  function finish(place: number, done: Done): void {
    held.finished(done);
    finished.add(place, done);
    notify();
  }

  function fail(error: unknown): void {
    state.failure ??= { error };
    notify();
  }

  async function feed(): Promise<void> {
    let place = 0;
    for await (const batch of lines) {
      let chunk: { place: number; line: Line }[] = [];
      const start = (): void => {
        const outcomes = begin(chunk.map(({ line }) => line));
        for (const [i, { place: at, line }] of chunk.entries())
          outcomes[i]?.then((outcome) => finish(at, { line, outcome, recalled: false }), fail);
        chunk = [];
      };
      for (const line of batch) {
        if (!held.hasRoom() || chunk.length >= CHUNK) {
          if (chunk.length > 0) start();
          while (!held.hasRoom() && !over) await changed.promise;
        }
        if (over) return;
        held.begun(line);
        const known = await recall(line);
        if (known) finish(place, { line, outcome: known, recalled: true });
        else chunk.push({ place, line });
        place++;
      }
      if (chunk.length > 0) start();
    }
    state.input = 'closed';
    notify();
  }

  const onAbort = (): void => fail(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  void feed().catch(fail);
  try {
    for (;;) {
      const batch = finished.take();
      if (signal.aborted) throw signal.reason;
      if (batch.length > 0) {
        yield batch;
        held.yielded(batch);
        notify();
      } else if (state.failure) throw state.failure.error;
      else if (state.input === 'closed' && held.lines === 0) return;
      else await changed.promise;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    over = true;
    notify();
  }
}

interface Finished {
  /** `place`: of the line among all. */
  add(place: number, done: Done): void;
  /** What may be yielded now. */
  take(): readonly Done[];
}

function createUnordered(): Finished {
  let ready: Done[] = [];
  return {
    add: (_, done) => void ready.push(done),
    take: () => {
      const batch = ready;
      ready = [];
      return batch;
    },
  };
}

function createOrdered(): Finished {
  const early = new Map<number, Done>();
  let next = 0;
  return {
    add: (place, done) => void early.set(place, done),
    take: () => {
      const batch: Done[] = [];
      for (let done = early.get(next); done; done = early.get(next)) {
        batch.push(done);
        early.delete(next++);
      }
      return batch;
    },
  };
}

/** What is begun and not yielded. */
function createHeld(limits: Limits) {
  let lines = 0;
  let bytes = 0;
  let awaited = 0;
  let results = 0;
  let resultBytes = 0;
  const sizeOf = (outcome: Outcome): number => (Buffer.isBuffer(outcome) ? outcome.length : 0);
  return {
    get lines() {
      return lines;
    },
    hasRoom: (): boolean =>
      lines === 0 ||
      (lines < limits.lines && bytes + awaited * (resultBytes / Math.max(1, results)) < limits.bytes),
    begun: (line: Line): void => {
      lines++;
      awaited++;
      bytes += line.bytes.length;
    },
    finished: ({ outcome }: Done): void => {
      const size = sizeOf(outcome);
      awaited--;
      results++;
      resultBytes += size;
      bytes += size;
    },
    yielded: (batch: readonly Done[]): void => {
      lines -= batch.length;
      for (const { line, outcome } of batch) bytes -= line.bytes.length + sizeOf(outcome);
    },
  };
}
