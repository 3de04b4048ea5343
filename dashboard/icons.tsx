/** Icons in the colour of the text; never the only carrier of information. */
const PATHS = {
  alert: 'M12 4 2.8 20h18.4zM12 10v4.500M12 17.400v.1',
  auto: 'M12 3.500a8.500 8.500 0 1 0 0 17zM12 3.500a8.500 8.500 0 0 1 0 17',
  back: 'M14.500 6 8.500 12l6 6',
  check: 'm5 12.500 4.500 4.500L19 7.500',
  down: 'M12 5v13M6.500 13 12 18.500 17.500 13',
  lock: 'M7 11V8a5 5 0 0 1 10 0v3M5.500 11h13v9h-13z',
  moon: 'M19.500 14.500A8 8 0 0 1 9.500 4.500a8 8 0 1 0 10 10z',
  pause: 'M8.500 5.500v13M15.500 5.500v13',
  play: 'M7.500 5v14l11-7z',
  search: 'M10.500 4a6.500 6.500 0 1 0 0 13 6.500 6.500 0 0 0 0-13zM15.500 15.500 20.500 20.500',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.500v2.500M12 19v2.500M2.500 12H5M19 12h2.500M5.300 5.300l1.700 1.700M17 17l1.700 1.700M18.700 5.300 17 7M7 17l-1.700 1.700',
  unlock: 'M7 11V8a5 5 0 0 1 9.600-2M5.500 11h13v9h-13z',
  up: 'M12 19V6M6.500 11 12 5.500 17.500 11',
  wheel:
    'M12 3.500a8.500 8.500 0 1 0 0 17 8.500 8.500 0 0 0 0-17zM12 3.500v17M3.500 12h17M6 6l12 12M18 6 6 18',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, large }: { name: IconName; large?: boolean }) {
  const size = large ? 40 : 18;
  return (
    <svg class="icon" viewBox="0 0 24 24" width={size} height={size} aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
