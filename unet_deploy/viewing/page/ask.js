// What all of the page needs: elements, questions to the server, and what is said of an error.

export const byId = (name) => document.getElementById(name);

export const made = (tag, properties, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

export async function ask(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(await answer.text() || `the server answers ${answer.status}`);
  return answer.json();
}

export const complain = (error) => { byId("wrong").textContent = error.message; };

// Does something once no more calls come for a while: a slider that is dragged asks once.
export const settled = (act, wait = 120) => {
  let waiting = 0;
  return (...given) => { clearTimeout(waiting); waiting = setTimeout(() => act(...given), wait); };
};
