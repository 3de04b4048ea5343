/** The number of waiting tasks over the last quarter of an hour. The number beside it carries the information. */
const WIDTH = 120;
const HEIGHT = 28;
const PAD = 2;

export function Sparkline({ values }: { values: readonly number[] }) {
  const most = Math.max(...values, 1);
  const step = WIDTH / (values.length - 1);
  const at = (value: number, i: number): string =>
    `${(i * step).toFixed(1)} ${(HEIGHT - PAD - (value / most) * (HEIGHT - 2 * PAD)).toFixed(1)}`;
  const line = `M${values.map(at).join('L')}`;
  const flat = values.every((value) => value === 0);
  return (
    <svg
      class={flat ? 'spark flat' : 'spark'}
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      aria-hidden="true"
      focusable="false"
    >
      {!flat && <path class="area" d={`${line}L${WIDTH} ${HEIGHT - PAD}L0 ${HEIGHT - PAD}Z`} />}
      <path class="line" d={line} vector-effect="non-scaling-stroke" />
    </svg>
  );
}
