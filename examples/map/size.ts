import type { PictureSize } from '../fractal/mandelbrot.ts';

/** Pixels of the picture, from a text such as `1200x800`. Throws `RangeError` for anything else. */
export function sizeOf(text = ''): PictureSize {
  const [, width, height] = /^([1-9]\d{0,4})x([1-9]\d{0,4})$/.exec(text) ?? [];
  if (!width || !height) throw new RangeError(`"${text}" is not a size: write 1200x800`);
  return { width: Number(width), height: Number(height) };
}
