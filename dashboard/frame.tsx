/** The head of a page, with the current place and the state of the connection, and placeholders for missing pages. */
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { About } from '../controller/dashboard/api.ts';
import type { FeedLink } from './feed.ts';
import { clock } from './format.ts';
import { Icon } from './icons.tsx';
import { SignIn } from './sign-in.tsx';
import { chooseTheme, currentTheme, themes, type Theme } from './theme.ts';
import { Unlock } from './unlock.tsx';

export interface FrameProps {
  readonly about: About | undefined;
  readonly link: FeedLink;
  /** When the data on the page was current, ms. */
  readonly at: number;
  /** The current place, below the list of pools. */
  readonly crumb?: string;
  readonly children: ComponentChildren;
}

export function Frame({ about, link, at, crumb, children }: FrameProps) {
  return (
    <>
      <a class="skip" href="#content" onClick={skip}>
        Skip to the content
      </a>
      <header class="top">
        <nav class="crumbs" aria-label="Breadcrumb">
          <a class="brand" href="#/" aria-current={crumb === undefined ? 'page' : undefined}>
            <img src="icon.svg" alt="" width="24" height="24" />
            Millrace
          </a>
          {crumb !== undefined && (
            <>
              <span class="sep" aria-hidden="true">
                /
              </span>
              <span class="here" aria-current="page">
                {crumb}
              </span>
            </>
          )}
        </nav>
        <div class="tools">
          <LinkState link={link} />
          <Unlock about={about} />
          <ThemeChoice />
        </div>
      </header>
      {link.state === 'lost' && !link.missing && at > 0 && (
        <p class="banner" role="status">
          <Icon name="alert" />
          <span>
            Not live: {link.why}. The page shows the state at {clock(at, Date.now())}; retrying.
          </span>
        </p>
      )}
      <main id="content" tabIndex={-1}>
        {link.state === 'denied' ? <SignIn why={link.why} /> : children}
      </main>
      <footer class="foot">
        {about && (
          <>
            <span>Millrace {about.version}</span>
            <span>{about.host === 'dev' ? 'millrace dev, on this machine' : 'served by the controller'}</span>
            <span>{about.showTasks ? 'tasks are shown' : 'tasks and ids are not shown'}</span>
          </>
        )}
      </footer>
    </>
  );
}

/** The address is a place in the app, not an anchor on the page. */
function skip(event: Event): void {
  event.preventDefault();
  document.getElementById('content')?.focus();
}

function LinkState({ link }: { link: FeedLink }) {
  const text = { loading: 'Connecting', live: 'Live', lost: 'Not live', denied: 'Signed out' }[link.state];
  return (
    <span class={`link ${link.state}`}>
      <span class="dot" aria-hidden="true" />
      {text}
    </span>
  );
}

const THEME_WORDS: Record<Theme, string> = {
  system: 'system setting',
  light: 'light',
  dark: 'dark',
};

function ThemeChoice() {
  const [theme, setTheme] = useState(currentTheme());
  const next = themes[(themes.indexOf(theme) + 1) % themes.length] ?? 'system';
  const label = `Colours: ${THEME_WORDS[theme]}. Change to: ${THEME_WORDS[next]}`;
  return (
    <button
      type="button"
      class="tool"
      aria-label={label}
      title={label}
      onClick={() => {
        chooseTheme(next);
        setTheme(next);
      }}
    >
      <Icon name={theme === 'system' ? 'auto' : theme === 'light' ? 'sun' : 'moon'} />
    </button>
  );
}

/** Instead of a page that does not exist or is unavailable. */
export function Blank({
  icon,
  title,
  children,
}: {
  icon: 'wheel' | 'alert' | 'search';
  title: string;
  children: ComponentChildren;
}) {
  return (
    <section class="blank">
      <Icon name={icon} large />
      <h1>{title}</h1>
      {children}
    </section>
  );
}
