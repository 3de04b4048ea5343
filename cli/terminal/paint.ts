/** Colours, where there is somebody to see them: on a terminal, unless NO_COLOR says otherwise. */
import { styleText } from 'node:util';

export type Colour = Parameters<typeof styleText>[0];

/** The text in that colour, or as it is. Node looks at stdout, NO_COLOR and FORCE_COLOR. */
export function paint(colour: Colour | undefined, text: string): string {
  return colour === undefined ? text : styleText(colour, text, { stream: process.stdout });
}
