{
  // The point below the pointer, or the one that the arrow keys lead to, shows its name and picture.
  const DIRECTIONS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
  const placeOf = (circle) => [Number(circle.getAttribute("cx")), Number(circle.getAttribute("cy"))];

  const explore = (map) => {
    const { points } = JSON.parse(map.querySelector(".payload").textContent);
    const svg = map.querySelector(".plane svg");
    const circles = [...svg.querySelectorAll("circle[data-group]")];
    const places = circles.map(placeOf);
    const groups = [...map.querySelectorAll(".legend .group")].map((name) => name.textContent);
    const here = svg.querySelector(".here");
    const card = map.querySelector(".card");
    const at = map.querySelector(".at");
    const isShown = (number) => circles[number].getAttribute("display") !== "none";
    let current = -1;

    const leave = () => {
      current = -1;
      card.hidden = true;
      here.setAttribute("cx", -99);
    };

    const show = (number) => {
      current = number;
      const [x, y] = places[number];
      const { name, thumb } = points[number];
      const image = card.querySelector("img");
      here.setAttribute("cx", x);
      here.setAttribute("cy", y);
      image.hidden = !thumb;
      if (thumb) image.src = thumb;
      card.querySelector(".name").textContent = name;
      card.querySelector(".group").textContent = groups[circles[number].dataset.group];
      at.textContent = `point ${number + 1} of ${points.length}: ${name}`;
      card.hidden = false;
      const { width, height } = svg.viewBox.baseVal;
      const isRight = x > width / 2;
      const isLow = y > height / 2;
      card.style.left = isRight ? "" : `${(100 * (x + 14)) / width}%`;
      card.style.right = isRight ? `${(100 * (width - x + 14)) / width}%` : "";
      card.style.top = isLow ? "" : `${(100 * y) / height}%`;
      card.style.bottom = isLow ? `${(100 * (height - y)) / height}%` : "";
    };

    // The nearest shown point in a direction: what lies ahead counts more than what lies aside.
    const next = ([dx, dy]) => {
      const [x, y] = places[current];
      let [best, least] = [current, Infinity];
      places.forEach(([px, py], number) => {
        const ahead = (px - x) * dx + (py - y) * dy;
        const aside = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
        if (number !== current && isShown(number) && ahead > 0 && ahead + 2 * aside < least) {
          [best, least] = [number, ahead + 2 * aside];
        }
      });
      return best;
    };

    svg.addEventListener("pointerover", (event) => {
      const number = circles.indexOf(event.target);
      if (number >= 0) show(number);
    });
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("blur", leave);
    svg.addEventListener("keydown", (event) => {
      if (event.key === "Escape") leave();
      const direction = DIRECTIONS[event.key];
      if (!direction) return;
      event.preventDefault();
      const number = current < 0 ? circles.findIndex((_, one) => isShown(one)) : next(direction);
      if (number >= 0) show(number);
    });
    for (const box of map.querySelectorAll(".legend input")) {
      box.addEventListener("change", () => {
        leave();
        for (const circle of circles) {
          if (circle.dataset.group === box.dataset.group) circle.setAttribute("display", box.checked ? "inline" : "none");
        }
      });
    }
  };

  for (const map of document.querySelectorAll(".map")) explore(map);
}
