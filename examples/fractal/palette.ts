/** Colours: a ring of a few stops, mixed in linear light so that no mixture is muddy, and shaded. */

/** sRGB, position on the ring from 0 to 1. */
const STOPS: readonly (readonly [number, number, number, number])[] = [
  [0, 8, 14, 48],
  [0.16, 22, 78, 142],
  [0.32, 120, 190, 222],
  [0.44, 250, 246, 226],
  [0.58, 246, 190, 84],
  [0.7, 196, 84, 38],
  [0.84, 84, 24, 60],
  [1, 8, 14, 48],
];

const STEPS = 4_096;
const ring = buildRing();
const toByte = buildToByte();

function linear(byte: number): number {
  const c = byte / 255;
  return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
}

function buildRing(): Float64Array {
  const table = new Float64Array(STEPS * 3);
  for (let i = 0; i < STEPS; i++) {
    const t = i / STEPS;
    const next = STOPS.findIndex(([at]) => at > t);
    const [from, to] = [STOPS[next - 1] ?? STOPS[0], STOPS[next] ?? STOPS.at(-1)];
    if (!from || !to) continue;
    const raw = (t - from[0]) / (to[0] - from[0]);
    const mix = raw * raw * (3 - 2 * raw);
    for (const channel of [1, 2, 3] as const)
      table[i * 3 + channel - 1] = linear(from[channel]) * (1 - mix) + linear(to[channel]) * mix;
  }
  return table;
}

function buildToByte(): Uint8Array {
  return Uint8Array.from({ length: STEPS + 1 }, (_, i) => {
    const c = i / STEPS;
    return Math.round(255 * (c <= 0.0031308 ? 12.92 * c : 1.055 * c ** (1 / 2.4) - 0.055));
  });
}

/**
 * Writes the colour of a point to `out` at `at`: `smooth` is its iteration count, `light` and `edge` (0 at the set, 1
 * from a pixel on) darken it.
 */
export function colourAt(smooth: number, light: number, edge: number, out: Uint8Array, at: number): void {
  // the logarithm keeps the bands equally wide at all depths
  const turn = Math.log(smooth) * 1.6 + 0.1;
  const index = Math.floor((turn - Math.floor(turn)) * STEPS) * 3;
  const strength = (0.25 + 0.85 * light) * (0.35 + 0.65 * edge);
  for (let i = 0; i < 3; i++) {
    const value = Math.min(1, (ring[index + i] ?? 0) * strength);
    out[at + i] = toByte[Math.floor(value * STEPS)] ?? 0;
  }
}
