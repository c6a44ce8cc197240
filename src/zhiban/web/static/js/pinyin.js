// The first letters of Chinese words, as kit/pinyin.py: GB 2312 orders its common characters by their pinyin.

const FIRST = "啊芭擦搭蛾发噶哈击喀垃妈拿哦啪期然撒塌挖昔压匝";
const LETTERS = "abcdefghjklmnopqrstwxyz";
let known = null;

function table() {
  const letters = new Map();
  const decoder = new TextDecoder("gb2312");
  let letter = "";
  for (let row = 0xb0; row <= 0xd7; row++) {
    const bytes = new Uint8Array(94 * 2);
    for (let cell = 0; cell < 94; cell++) bytes.set([row, 0xa1 + cell], cell * 2);
    for (const character of decoder.decode(bytes)) {
      const begins = FIRST.indexOf(character);
      if (begins >= 0) letter = LETTERS[begins];
      if (/\p{Script=Han}/u.test(character)) letters.set(character, letter);
    }
  }
  return letters;
}

export function initials(text) {
  known ??= table();
  return [...text.toLowerCase()].map((one) => (/[a-z0-9]/.test(one) ? one : known.get(one) ?? "")).join("");
}
