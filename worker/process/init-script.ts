/** The text of init.sh. The bundler replaces this module with one that carries the text itself. */
import { readFileSync } from 'node:fs';

export const initScript = (): string => readFileSync(new URL('./init.sh', import.meta.url), 'utf8');
