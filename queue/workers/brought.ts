/** What a turn brought, packed or not. Pure. */
import type { Brought, Delivery } from './turn.ts';

/** How many tasks a turn brought. */
export const countBrought = ({ packed, tasks }: Brought): number => (packed ?? tasks).length;

/** The tasks that a turn brought. */
export const tasksBrought = ({ packed, tasks }: Brought): readonly Delivery[] => packed?.deliveries ?? tasks;
