// The page of reports: its charts, drawn from what the page brings along, and choices that act at once.

const form = document.querySelector("[data-asks]");
const given = JSON.parse(document.getElementById("charts").textContent);
const places = [...document.querySelectorAll("[data-chart]")];
let drawn = [];

form.dataset.live = "";
form.addEventListener("change", (event) => {
  const own = form.elements.period.value === "custom";
  if (event.target.type === "date") form.elements.period.value = "custom";
  else if (!own || event.target !== form.elements.period) form.requestSubmit();
});

function styles() {
  const css = getComputedStyle(document.documentElement);
  const of = (name) => css.getPropertyValue(`--${name}`).trim();
  const text = { color: of("text-3"), fontSize: 12, fontFamily: css.fontFamily };
  const line = { lineStyle: { color: of("line") } };
  return {
    of,
    text,
    line,
    legend: { icon: "roundRect", itemWidth: 10, itemHeight: 10, itemGap: 16, top: 0, left: 4, textStyle: { ...text, color: of("text-2") } },
    tooltip: { trigger: "axis", confine: true, backgroundColor: of("raised"), borderColor: of("line"), textStyle: { ...text, color: of("text") }, axisPointer: { type: "line", lineStyle: { color: of("line-2") } } },
    grid: { left: 4, right: 8, top: 30, bottom: 0, containLabel: true },
    x: { type: "category", data: given.labels, axisLine: line, axisTick: { show: false }, axisLabel: { ...text, hideOverlap: true } },
    y: { type: "value", splitNumber: 3, minInterval: 1, splitLine: line, axisLabel: text },
  };
}

const curve = (look, name, color, data, points) => ({
  name, type: "line", data, symbol: points ? "circle" : "none", symbolSize: 5, connectNulls: false,
  lineStyle: { width: 2, color: look.of(`c${color}`) }, itemStyle: { color: look.of(`c${color}`) },
});

const kinds = {
  flow(look, chart) {
    const alone = given.labels.length < 2;
    return {
      series: [
        { name: chart.bars[0], type: "bar", data: chart.bars[1], barMaxWidth: 14, itemStyle: { color: look.of("accent-line"), borderRadius: [3, 3, 0, 0] } },
        curve(look, chart.line[0], 1, chart.line[1], alone),
      ],
    };
  },
  lines(look, chart) {
    return { series: chart.lines.map(([name, color, data]) => curve(look, name, color, data, given.labels.length < 2)) };
  },
  times(look, chart) {
    const sparse = given.labels.length < 2 || chart.lines[0][2].filter((n) => n !== null).length < given.labels.length;
    return { yAxis: { ...look.y, minInterval: 0 }, series: chart.lines.map(([name, color, data]) => curve(look, name, color, data, sparse)) };
  },
  stack(look, chart, place) {
    return {
      grid: { ...look.grid, top: place.clientWidth < 560 ? 58 : 30 }, // five names take two lines on a phone
      series: chart.bars.map(([name, shade, data]) => {
        const [color, opacity = 1] = shade.split("/");
        return { name, type: "bar", stack: "all", data, barMaxWidth: 18, itemStyle: { color: look.of(color), opacity: Number(opacity) } };
      }),
    };
  },
  pie(look, chart) {
    const shares = new Map(chart.parts.map(([name, , , share]) => [name, share]));
    return {
      xAxis: undefined, yAxis: undefined, grid: undefined,
      tooltip: { ...look.tooltip, trigger: "item" },
      legend: { ...look.legend, orient: "vertical", left: "60%", top: "middle", itemGap: 14, formatter: (name) => `${name}  ${shares.get(name)}` },
      title: { text: chart.total, subtext: chart.caption, left: "29.5%", top: "39%", textAlign: "center", itemGap: 5, textStyle: { fontSize: 20, fontWeight: 600, color: look.of("text"), fontFamily: look.text.fontFamily }, subtextStyle: look.text },
      series: [{ type: "pie", radius: ["58%", "82%"], center: ["30%", "52%"], label: { show: false }, itemStyle: { borderColor: look.of("sheet"), borderWidth: 2 }, data: chart.parts.map(([name, value, color]) => ({ name, value, itemStyle: { color: look.of(`c${color}`) } })) }],
    };
  },
};

function draw() {
  drawn.forEach((chart) => chart.dispose());
  const look = styles();
  drawn = places.map((place) => {
    const chart = echarts.init(place, null, { renderer: "svg" });
    const { kind, ...what } = given[place.dataset.chart];
    chart.setOption({ animation: false, textStyle: look.text, tooltip: look.tooltip, legend: look.legend, grid: look.grid, xAxis: look.x, yAxis: look.y, ...kinds[kind](look, what, place) });
    return chart;
  });
}

if (window.echarts) {
  draw();
  new ResizeObserver(() => drawn.forEach((chart) => chart.resize())).observe(document.querySelector(".ins"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
