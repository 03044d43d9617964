// The album: every embedded image once, in one sheet; names and numbers beside it. Names are user text: only ever
// written as text, never as markup.
const album = JSON.parse(document.getElementById("album")?.textContent ?? "null");
const sheets = Object.fromEntries([...document.querySelectorAll("[data-sheet]")].map((image) => [image.dataset.sheet, image]));
const percent = (ratio) => (ratio >= 0.9995 && ratio < 1 ? ">99.9%" : (100 * ratio).toFixed(1) + "%");

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function isolated(text) { // a name in a right-to-left script must not reorder what stands around it
  return element("bdi", "", text);
}

// Draws one square of a sheet over a whole canvas.
function drawSquare(canvas, sheet, index, smooth) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const { side, columns } = album;
  context.imageSmoothingEnabled = smooth;
  context.imageSmoothingQuality = "high";
  const left = side * (index % columns), top = side * Math.floor(index / columns);
  context.drawImage(sheet, left, top, side, side, 0, 0, canvas.width, canvas.height);
  return context;
}

function photographOf(index) {
  const image = element("img", "photograph", "");
  image.src = album.photographs[index];
  image.alt = `photograph ${album.names[index]}`;
  return image;
}

function describe(index) {
  const [truth, predicted] = [album.truth[index], album.predicted[index]];
  return {
    truth: album.classes[truth],
    predicted: album.classes[predicted],
    isRight: truth === predicted,
    confidence: percent(album.confidence[index]),
    name: album.names[index],
  };
}

function thumb(index, siblings) {
  const { truth, predicted, isRight, confidence, name } = describe(index);
  const button = element("button", "thumb", "");
  button.type = "button";
  button.dataset.image = index;
  const mark = isRight ? "✓" : "✗";
  // It begins with what is seen, so that those who speak to their browser can say that.
  button.setAttribute("aria-label", `${predicted} ${mark} ${confidence} truth ${truth}, image ${name}`);
  button.title = name;
  if (album.photographs?.[index]) {
    const image = photographOf(index);
    image.alt = ""; // the button says what it is
    button.append(image);
  } else if (sheets.images) {
    const canvas = element("canvas", "", "");
    canvas.width = canvas.height = album.side;
    drawSquare(canvas, sheets.images, index, false);
    button.append(canvas);
  }
  const caption = element("span", isRight ? "right" : "wrong", `${mark} ${confidence} `);
  const guess = element("span", "", "");
  const answer = element("span", "truth", "truth ");
  guess.append(isolated(predicted));
  answer.append(isolated(truth));
  button.append(guess, caption, answer);
  button.addEventListener("click", () => openViewer(index, siblings));
  const item = element("li", "", "");
  item.append(button);
  return item;
}

function fillThumbs(list, indices) {
  list.replaceChildren(...indices.map((index) => thumb(index, indices)));
}

// Sheets are data inside the file, but decoded in the background.
const sheetsReady = Promise.all(Object.values(sheets).map((sheet) => sheet.decode()));
sheetsReady.then(() => {
  for (const list of document.querySelectorAll("ul[data-images]")) {
    fillThumbs(list, list.dataset.images.split(" ").filter(Boolean).map(Number));
  }
});
