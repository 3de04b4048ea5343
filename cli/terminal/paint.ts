/** Colours, only on a terminal and unless NO_COLOR is set. */
import { styleText } from 'node:util';

export type Colour = Parameters<typeof styleText>[0];

/** The text in that colour, or unchanged. Node checks stdout, NO_COLOR and FORCE_COLOR. */
export function paint(colour: Colour | undefined, text: string): string {
  return colour === undefined ? text : styleText(colour, text, { stream: process.stdout });
}
