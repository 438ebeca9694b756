import { useEffect, useRef } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

export interface Line { label: string; values: (number | null)[]; unit: (value: number) => string }

/** Lines over time. The newest values are in its text as well, for who does not see. */
export function Plot({ title, times, lines }: { title: string; times: number[]; lines: Line[] }) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const newest = useRef({ times, lines });
  newest.current = { times, lines };
  const labels = lines.map((line) => line.label).join();
  useEffect(() => {
    const element = place.current!;
    const draw = () => {
      plot.current?.destroy();
      const style = getComputedStyle(element);
      const colour = (name: string) => style.getPropertyValue(name).trim();
      const { times, lines } = newest.current;
      const axis = { stroke: colour('--dim'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false } };
      const unit = lines[0]!.unit;
      plot.current = new uPlot({
        width: Math.max(element.clientWidth, 100), height: 180,
        cursor: { drag: { x: false, y: false } }, legend: { show: true, live: true },
        scales: { y: { range: (_, __, max) => [0, Math.max(max * 1.1, 1)] } },
        axes: [axis, { ...axis, size: 64, values: (_, values) => values.map((value) => unit(value)) }],
        series: [{ value: '{HH}:{mm}:{ss}' }, ...lines.map((line, i) => ({
          label: line.label, stroke: colour(`--plot-${i + 1}`), width: 2, spanGaps: false,
          points: { show: times.length < 30 },
          value: (_: uPlot, value: number | null) => (value === null ? '–' : line.unit(value)),
        }))],
      }, [times, ...lines.map((line) => line.values)], element);
    };
    draw();
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: Math.max(element.clientWidth, 100), height: 180 }));
    resized.observe(element);
    addEventListener('themechange', draw);
    const dark = matchMedia('(prefers-color-scheme: dark)');
    dark.addEventListener('change', draw);
    return () => {
      resized.disconnect();
      removeEventListener('themechange', draw);
      dark.removeEventListener('change', draw);
      plot.current?.destroy();
    };
  }, [labels]);
  useEffect(() => plot.current?.setData([times, ...lines.map((line) => line.values)]), [times, lines]);
  const now = lines.map((line) => {
    const value = line.values.findLast((value) => value !== null);
    return `${line.label} ${value == null ? '–' : line.unit(value)}`;
  });
  return (
    <figure className="card plot">
      <figcaption><h2>{title}</h2><p className="hint">{now.join(' · ')}</p></figcaption>
      <div ref={place} aria-hidden="true" />
    </figure>
  );
}
