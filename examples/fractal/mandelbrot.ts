/**
 * The Mandelbrot set with a little light on it: smooth iteration counts choose the colour, the distance to the set and
 * the slope of the potential shade it like a relief. Sources of the formulas: Hubbard and Douady's potential for the
 * smooth count; its derivative z' = 2 z z' + 1, taken along, for distance and slope (Milnor, Dynamics in One Complex
 * Variable, appendix G).
 */
import { colourAt } from './palette.ts';

export interface View {
  /** The middle of the picture on the complex plane. */
  readonly re: number;
  readonly im: number;
  /** Width of the picture on the plane. */
  readonly span: number;
  readonly maxIterations: number;
}

export interface Area {
  /** Left, top, width and height in pixels of the whole picture. */
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export interface PictureSize {
  readonly width: number;
  readonly height: number;
}

const ESCAPE = 1e4; // |z|²; far out, so that the smooth count is smooth
const LIGHT = { re: Math.cos(2.4), im: Math.sin(2.4), height: 1.5 };
/** Subpixels in each direction where a pixel is supersampled. */
const GRID = 3;
/** Neighbours that differ by more than this (sum over the channels) are supersampled. */
const ROUGH = 40;

/**
 * RGB bytes of a part of the picture, row by row. Each pixel is computed once; those that differ from a neighbour are
 * computed anew from a grid of subpixels, which is where the eye would see steps.
 */
export function renderArea(view: View, size: PictureSize, area: Area): Uint8Array {
  const { width, height } = area;
  const pixel = view.span / size.width;
  // from the whole picture's pixels, so that a point has the same value in every tile
  const re = (x: number): number => view.re + (area.x + x - size.width / 2) * pixel;
  const im = (y: number): number => view.im - (area.y + y - size.height / 2) * pixel;
  // one more pixel on each side, so that neighbouring tiles supersample the same edges
  const stride = width + 2;
  const first = new Uint8Array(stride * (height + 2) * 3);
  for (let y = 0; y < height + 2; y++)
    for (let x = 0; x < stride; x++)
      sample(view, re(x - 0.5), im(y - 0.5), pixel, first, (y * stride + x) * 3);

  const rgb = new Uint8Array(width * height * 3);
  const one = new Uint8Array(3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = ((y + 1) * stride + x + 1) * 3;
      const to = (y * width + x) * 3;
      if (!isRough(first, from, stride)) {
        rgb.set(first.subarray(from, from + 3), to);
        continue;
      }
      let r = 0;
      let g = 0;
      let b = 0;
      for (let i = 0; i < GRID * GRID; i++) {
        const dx = ((i % GRID) + 0.5) / GRID;
        const dy = (Math.floor(i / GRID) + 0.5) / GRID;
        sample(view, re(x + dx), im(y + dy), pixel, one, 0);
        r += one[0] ?? 0;
        g += one[1] ?? 0;
        b += one[2] ?? 0;
      }
      rgb[to] = r / (GRID * GRID);
      rgb[to + 1] = g / (GRID * GRID);
      rgb[to + 2] = b / (GRID * GRID);
    }
  }
  return rgb;
}

function isRough(rgb: Uint8Array, at: number, stride: number): boolean {
  for (const next of [at - 3, at + 3, at - stride * 3, at + stride * 3]) {
    let sum = 0;
    for (let i = 0; i < 3; i++) sum += Math.abs((rgb[at + i] ?? 0) - (rgb[next + i] ?? 0));
    if (sum > ROUGH) return true;
  }
  return false;
}

/** The colour of one point of the plane, written to `out` at `at`. */
function sample(view: View, cr: number, ci: number, pixel: number, out: Uint8Array, at: number): void {
  let zr = 0;
  let zi = 0;
  let dr = 0;
  let di = 0;
  let rr = 0;
  let ii = 0;
  let n = 0;
  // an orbit that returns to an earlier point is a cycle: the point is in the set
  let oldR = 0;
  let oldI = 0;
  let lookAgain = 16;
  const max = view.maxIterations;
  while (n < max && rr + ii < ESCAPE) {
    const t = 2 * (zr * dr - zi * di) + 1;
    di = 2 * (zr * di + zi * dr);
    dr = t;
    zi = 2 * zr * zi + ci;
    zr = rr - ii + cr;
    rr = zr * zr;
    ii = zi * zi;
    n++;
    if (zr === oldR && zi === oldI) n = max;
    if (n === lookAgain) {
      oldR = zr;
      oldI = zi;
      lookAgain *= 2;
    }
  }
  if (n >= max) {
    out[at] = 6;
    out[at + 1] = 8;
    out[at + 2] = 20;
    return;
  }
  const modulus = Math.sqrt(rr + ii);
  const smooth = n + 1 - Math.log2(Math.log(modulus));
  const derivative = Math.hypot(dr, di);
  const distance = (modulus * Math.log(modulus)) / derivative;
  // the slope of the potential: z / z', of length one
  const square = dr * dr + di * di;
  const ur = (zr * dr + zi * di) / square;
  const ui = (zi * dr - zr * di) / square;
  const length = Math.hypot(ur, ui) || 1;
  const shade = (ur * LIGHT.re + ui * LIGHT.im) / length;
  const light = Math.max(0, (shade + LIGHT.height) / (1 + LIGHT.height));
  colourAt(smooth, light, Math.min(1, distance / (pixel * 1.5)), out, at);
}
