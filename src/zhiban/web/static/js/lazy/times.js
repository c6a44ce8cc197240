// A date and time as somebody writes it behind the word for snoozing: 搁置 明天 15:30, > 12-05 9:00, snooze tomorrow 3pm.
// Read on the clock of the desk's time zone; whether it lies ahead is the server's to say.

const WORD = /^(?:>|搁置|snooze|gz)[:：]?\s*/iu;
const TIME = /^(?:(?:(\d{4})[-/年])?(\d{1,2})[-/月](\d{1,2})[日号]?|(今天|明天|后天|today|tomorrow))?\s*(?:(上午|早上|下午|晚上)?\s*(\d{1,2})(?:(?::|点)(\d{1,2}|半)?分?)?\s*(am|pm)?)?$/iu;
const AHEAD = { 今天: 0, today: 0, 明天: 1, tomorrow: 1, 后天: 2 };
const MORNING = 9;

const two = (number) => String(number).padStart(2, "0");

// What the clock says in the zone, as if it were UTC.
function clock(zone, now = new Date()) {
  const parts = new Intl.DateTimeFormat("en", { timeZone: zone, year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", hourCycle: "h23" }).formatToParts(now);
  const of = (name) => Number(parts.find((one) => one.type === name).value);
  return new Date(Date.UTC(of("year"), of("month") - 1, of("day"), of("hour"), of("minute")));
}

// The value for a field of date and time with words for it, or null where none was written.
export function read(text, zone, now = new Date()) {
  const word = WORD.exec(text);
  const found = word && TIME.exec(text.slice(word[0].length).trim());
  if (!found?.[0]) return null;
  const [, year, month, day, named, half, hours, minutes, noon] = found;
  if (hours && !minutes && !noon && !half && !/[:点]/u.test(found[0])) return null; // a bare number is no time
  const here = clock(zone, now);
  let hour = hours === undefined ? MORNING : Number(hours);
  const afternoon = half === "下午" || half === "晚上" || noon?.toLowerCase() === "pm";
  if (afternoon && hour < 12) hour += 12;
  if (noon?.toLowerCase() === "am" && hour === 12) hour = 0;
  const minute = minutes === "半" ? 30 : Number(minutes ?? 0);
  const at = new Date(here);
  at.setUTCHours(hour, minute, 0, 0);
  if (named) at.setUTCDate(at.getUTCDate() + AHEAD[named.toLowerCase()]);
  else if (month) at.setUTCFullYear(year ? Number(year) : at.getUTCFullYear(), Number(month) - 1, Number(day));
  else if (at <= here) at.setUTCDate(at.getUTCDate() + 1); // the next time that the clock says so
  if (month && !year && at < here && here - at > 24 * 3600_000) at.setUTCFullYear(at.getUTCFullYear() + 1);
  const whole = hour < 24 && minute < 60 && (!month || (at.getUTCMonth() + 1 === Number(month) && at.getUTCDate() === Number(day)));
  if (!whole) return null;
  const value = `${at.getUTCFullYear()}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())}T${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
  return { value, words: new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "long", timeStyle: "short", timeZone: "UTC" }).format(at) };
}
