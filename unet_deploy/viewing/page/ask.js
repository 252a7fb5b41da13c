// What all of the page needs: elements, questions to the server, and what is said of an error.

export const byId = (name) => document.getElementById(name);

export const made = (tag, properties, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

export async function ask(path) {
  const failed = (text) => Object.assign(new Error(text), { path });
  const answer = await fetch(path).catch(() => { throw failed("the server has ended: run unet-deploy view again"); });
  if (!answer.ok) throw failed(await answer.text() || `the server answers ${answer.status}`);
  if (byId("wrong").dataset.path === path) complain({ message: "", path });
  return answer.json();
}

// What went wrong stays until the same question is answered; on a narrow window it opens the panel that it stands in.
export function complain({ message, path = "" }) {
  byId("wrong").textContent = message;
  byId("wrong").dataset.path = path;
  if (message) byId("panel").open = true;
}

// Does something once no more calls come for a while: a slider that is dragged asks once.
export const settled = (act, wait = 120) => {
  let waiting = 0;
  return (...given) => { clearTimeout(waiting); waiting = setTimeout(() => act(...given), wait); };
};
