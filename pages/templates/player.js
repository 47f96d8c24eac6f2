// Plays moments of the sounds that the page stores, from sample to sample. A sound is base64 in an
// element of its own, decoded when it is first asked for; the last few stay decoded.
const player = (() => {
  const RATE = 22050, FADE = 0.004, KEPT = 8;
  const decoded = new Map();
  let context = null, now = null;

  const decode = (id) => {
    if (!decoded.has(id)) {
      const text = document.getElementById(id).textContent;
      const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
      decoded.set(id, context.decodeAudioData(bytes.buffer));
      if (decoded.size > KEPT) decoded.delete(decoded.keys().next().value);
    }
    return decoded.get(id);
  };

  const tell = (button, name, detail) => button.dispatchEvent(new CustomEvent(name, { bubbles: true, detail }));

  const stop = () => {
    if (!now) return;
    const { source, button, frame } = now;
    now = null;
    cancelAnimationFrame(frame);
    source.onended = null;
    source.stop();
    button.setAttribute("aria-pressed", "false");
    button.style.removeProperty("--done");
    tell(button, "stopped");
  };

  // `from` and `seconds` are those of the sound as the network heard it: repeated from its end on.
  const play = async (button, { sound, from, seconds, length }) => {
    const again = now && now.button === button;
    stop();
    if (again) return;
    context = context || new AudioContext({ sampleRate: RATE });
    context.resume();
    const buffer = await decode("sound-" + sound);
    stop(); // another button was pressed while this one's sound was decoded
    const source = context.createBufferSource(), gain = context.createGain();
    source.buffer = buffer;
    source.loop = true;
    source.loopEnd = Math.min(length, buffer.duration);
    source.connect(gain).connect(context.destination);
    const start = context.currentTime + 0.01, end = start + seconds;
    gain.gain.setValueAtTime(0, start);
    gain.gain.linearRampToValueAtTime(1, start + FADE);
    gain.gain.setValueAtTime(1, Math.max(start + FADE, end - FADE));
    gain.gain.linearRampToValueAtTime(0, end);
    source.onended = stop;
    source.start(start, from % source.loopEnd, seconds);
    now = { source, button, frame: 0 };
    button.setAttribute("aria-pressed", "true");
    tell(button, "playing", { seconds });
    const draw = () => {
      const done = Math.min(1, Math.max(0, (context.currentTime - start) / seconds));
      button.style.setProperty("--done", done.toFixed(4));
      if (now && now.button === button) now.frame = requestAnimationFrame(draw);
    };
    draw();
  };

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") stop();
  });
  return { play, stop };
})();
