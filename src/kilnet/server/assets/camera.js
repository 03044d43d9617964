// The camera, live, where the browser gives one to this page: only over https or from this machine itself.

const find = (id) => document.getElementById(id);
let stream = null;

function reasonOf(error) {
  if (error.name === "NotAllowedError") return "The browser does not let this page use the camera.";
  if (error.name === "NotFoundError") return "No camera was found.";
  return `The camera cannot be used: ${error.message}`;
}

async function open() {
  find("camera-trouble").hidden = true;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: { ideal: "environment" } } });
    find("preview").srcObject = stream;
    find("viewfinder").hidden = false;
    find("open-camera").hidden = true;
    await find("preview").play();
    find("take").focus();
  } catch (error) {
    close();
    find("camera-trouble").textContent = reasonOf(error);
    find("camera-trouble").hidden = false;
  }
}

function close() {
  for (const track of stream?.getTracks() ?? []) track.stop(); // the lamp beside the lens goes out
  find("preview").srcObject = stream = null;
  find("viewfinder").hidden = true;
  find("open-camera").hidden = false;
  find("open-camera").focus();
}

// What the preview shows is what is taken, with all pixels that the camera gives.
function take(give) {
  const video = find("preview");
  const canvas = Object.assign(document.createElement("canvas"), { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => give(`camera ${new Date().toLocaleTimeString()}`, blob), "image/jpeg", 0.92);
}

// Offers the camera if there is one; `give` gets the name of each photograph, and its file.
export async function offerCamera(give) {
  const devices = await navigator.mediaDevices?.enumerateDevices?.().catch(() => []) ?? [];
  if (!devices.some(({ kind }) => kind === "videoinput")) return;
  find("open-camera").addEventListener("click", open);
  find("close-camera").addEventListener("click", close);
  find("take").addEventListener("click", () => take(give));
  find("open-camera").hidden = false;
}
