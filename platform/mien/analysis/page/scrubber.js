{
  // One frame of a clip at a time: crop, candle, column of each heatmap and blendshapes say the same moment.
  const PLAYED_PER_S = 12;
  const told = (value, digits) => (value === null ? "–" : value.toFixed(digits).replace("-", "−"));

  const scrub = (clip) => {
    const frames = JSON.parse(clip.querySelector(".payload").textContent);
    const num = frames.time_s.length;
    const slider = clip.querySelector("input");
    const at = clip.querySelector(".at");
    const image = clip.querySelector(".crop img");
    const absent = clip.querySelector(".absent");
    const candle = [...clip.querySelectorAll(".candle dd")];
    const bars = [...clip.querySelectorAll(".blendshapes li")];
    const cursors = [...clip.querySelectorAll(".cursor")];
    const ones = [...clip.querySelectorAll(".one")];

    const show = (frame) => {
      const text = `frame ${frame + 1} of ${num}, ${frames.time_s[frame].toFixed(2)} s`;
      at.textContent = text;
      slider.value = frame;
      slider.setAttribute("aria-valuetext", text);
      for (const cursor of cursors) cursor.setAttribute("x", frame);
      for (const one of ones) one.setAttribute("viewBox", `${frame} 0 1 ${one.dataset.height}`);
      const numbers = frames.candles[frame];
      candle.forEach((cell, place) => { cell.textContent = told(numbers ? numbers[place] : null, 3); });
      bars.forEach((bar, place) => {
        const value = frames.blendshapes[frame][place];
        bar.querySelector("rect").setAttribute("width", Math.max(0, value ?? 0));
        bar.querySelector(".value").textContent = told(value, 2);
      });
      if (image) {
        const crop = frames.crops[frame];
        image.hidden = !crop;
        absent.hidden = Boolean(crop);
        if (crop) {
          image.src = crop;
          image.alt = `Face at ${text}`;
        }
      }
    };

    for (const strip of clip.querySelectorAll(".frames")) {
      const follow = (event) => {
        const box = strip.getBoundingClientRect();
        const place = Math.floor(((event.clientX - box.left) / box.width) * num);
        show(Math.min(num - 1, Math.max(0, place)));
      };
      strip.addEventListener("pointerdown", (event) => {
        strip.setPointerCapture(event.pointerId);
        follow(event);
      });
      strip.addEventListener("pointermove", (event) => {
        if (event.buttons) follow(event);
      });
    }
    slider.addEventListener("input", () => show(Number(slider.value)));
    play(clip.querySelector(".play"), () => show((Number(slider.value) + 1) % num));
    show(0);
  };

  const play = (button, step) => {
    let timer = 0;
    button.addEventListener("click", () => {
      clearInterval(timer);
      timer = timer ? 0 : setInterval(step, 1000 / PLAYED_PER_S);
      button.textContent = timer ? "Pause" : "Play";
      button.ariaPressed = String(Boolean(timer));
    });
  };

  for (const scrubber of document.querySelectorAll(".scrubber")) {
    const clips = [...scrubber.querySelectorAll(".clip")];
    clips.forEach(scrub);
    scrubber.querySelector("select")?.addEventListener("change", (event) => {
      clips.forEach((clip, number) => { clip.hidden = number !== Number(event.target.value); });
    });
  }
}
