/** Light, dark, or the system's theme; the choice is stored in this browser. */
export const themes = ['system', 'light', 'dark'] as const;
export type Theme = (typeof themes)[number];

const KEY = 'millrace-theme';

export function currentTheme(): Theme {
  const kept = localStorage.getItem(KEY);
  return kept === 'light' || kept === 'dark' ? kept : 'system';
}

export function chooseTheme(theme: Theme): void {
  if (theme === 'system') {
    localStorage.removeItem(KEY);
    delete document.documentElement.dataset['theme'];
  } else {
    localStorage.setItem(KEY, theme);
    document.documentElement.dataset['theme'] = theme;
  }
  window.dispatchEvent(new Event('themechange'));
}

/** Calls back when colours have changed, by choice or with the system. Returns a function that unsubscribes. */
export function onThemeChange(callback: () => void): () => void {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  dark.addEventListener('change', callback);
  window.addEventListener('themechange', callback);
  return () => {
    dark.removeEventListener('change', callback);
    window.removeEventListener('themechange', callback);
  };
}
