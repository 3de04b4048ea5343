import type { SettingsGroup } from '../controller/dashboard/api.ts';
import { Section } from './section.tsx';

/** The pool's spec; the server omits secrets. */
export function Settings({ groups }: { groups: readonly SettingsGroup[] }) {
  return (
    <Section title="Settings">
      {groups.map(({ title, entries }) => (
        <details key={title} class="group" open={title === 'Scaling'}>
          <summary>{title}</summary>
          <dl class="pairs">
            {entries.map(([name, value]) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </div>
            ))}
          </dl>
        </details>
      ))}
    </Section>
  );
}
