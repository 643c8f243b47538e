// One dialog for everything that needs a second touch.
import { $, element } from "./dom.js";
import { t } from "./words.js";

export class Panel {
  constructor() {
    this.dialog = $("panel");
    $("panel-close").addEventListener("click", () => this.close());
  }

  get open() {
    return this.dialog.open;
  }

  show(title, ...children) {
    $("panel-title").textContent = title;
    $("panel-body").replaceChildren(...children);
    $("panel-close").textContent = t("panel.close");
    if (!this.dialog.open) this.dialog.showModal();
  }

  focus(selector) {
    this.dialog.querySelector(selector)?.focus();
  }

  close() {
    this.dialog.close();
  }

  // A row of buttons of which one touch decides; keys 1 to 9 press them too.
  choices(options, take, className = "") {
    const buttons = options.map(([value, text], index) =>
      element("button", { type: "button", "data-value": value, onclick: () => take(value) }, ...(index < 9 ? [element("kbd", { text: index + 1 })] : []), text),
    );
    const row = element("div", { className: `choices ${className}` }, ...buttons);
    row.addEventListener("keydown", (event) => pressed(event, buttons));
    return row;
  }
}

function pressed(event, buttons) {
  const button = buttons[Number(event.key) - 1];
  if (!button || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  button.click();
}

export function group(title, child) {
  return element("fieldset", { className: "group" }, element("legend", { text: title }), child);
}
