// What the browser does itself: dialogs, keys, theme, the drawer and sheet of narrow screens. Every part of the page
// made of our HTML calls `attach`; buttons and forms in it (`markup.button`, `markup.form`) become events of the server.

const one = (selector, root = document) => root.querySelector(selector);
const body = () => one('#body'); // what Gradio's scoping of our styles lets us put state on

export function attach(element, trigger) {
  const send = (from, fields) => trigger('click', { action: from.dataset.do, item: from.dataset.item || '', fields });
  element.addEventListener('click', async (event) => {
    if (isRepeated(event)) return event.preventDefault();
    const button = event.target.closest('[data-do], [data-here]');
    if (!button || button.disabled || button.tagName === 'FORM') return;
    if (button.dataset.here) return here[button.dataset.here]?.(button);
    const fields = button.dataset.ask ? await ask(JSON.parse(button.dataset.ask)) : {};
    if (!fields) return;
    if (button.dataset.do === 'quote') showSource(button);
    if (['open', 'view'].includes(button.dataset.do)) body().classList.remove('or-drawer');
    if (button.dataset.do === 'suggest') document.activeElement?.blur();
    send(button, fields);
  });
  element.addEventListener('submit', (event) => {
    if (!event.target.dataset.do) return;
    event.preventDefault();
    send(event.target, Object.fromEntries(new FormData(event.target)));
  });
  element.addEventListener('keydown', (event) => {
    if (event.repeat && event.key === 'Enter' && event.target.tagName !== 'TEXTAREA') event.preventDefault(); // held down
  });
  keepFocus(element);
}

// The second click of a double click: it would start things twice, or press what has come into the button's place.
function isRepeated(event) {
  return event.detail > 1 && !!event.target.closest('button:not([data-here])');
}

// The server makes a part anew while something in it has the focus: the same button gets it back, or the one in its place.
function keepFocus(element) {
  let last = null;
  element.addEventListener('focusin', (event) => { last = event.target.dataset || null; });
  element.addEventListener('focusout', (event) => { if (event.relatedTarget) last = null; });
  new MutationObserver(() => {
    if (!last?.do || document.activeElement !== document.body) return;
    const twin = `[data-do="${CSS.escape(last.do)}"][data-item="${CSS.escape(last.item || '')}"]`;
    const beside = `[data-do][data-item="${CSS.escape(last.item || '')}"]`; // Pause became Go on
    (one(twin, element) || one(beside, element))?.focus({ preventScroll: true });
  }).observe(element, { childList: true, subtree: true });
}

// A dialog with a title, words, fields and two buttons; resolves to the fields' values, or to null.
function ask({ title, words, fields = [], confirm, danger }) {
  const make = (tag, properties = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  };
  const inputs = fields.map(({ name, label, value = '', lines, kind = 'text', choices, optional }) => {
    const common = { name, required: !optional, value, ...(optional || lines ? {} : { pattern: '.*\\S.*', title: 'Not only blanks' }) };
    let input;
    if (choices) {
      input = make('select', { name }, ...choices.map((choice) => make('option', { value: choice, textContent: choice })));
    } else {
      input = lines ? make('textarea', { ...common, rows: lines }) : make('input', { ...common, type: kind });
    }
    return make('label', {}, label, input);
  });
  const close = (value) => make('button', {
    value, className: `or-button ${value ? (danger ? 'or-danger' : 'or-primary') : ''}`, formNoValidate: !value,
    textContent: value ? confirm : 'Cancel',
  });
  const form = make('form', { method: 'dialog' }, make('h2', { textContent: title, id: 'or-dialog-title' }));
  if (words) form.append(make('p', { textContent: words }));
  form.append(...inputs, make('p', { className: 'or-actions' }, close('yes'), close('')));
  const dialog = make('dialog', { className: 'or-dialog' }, form);
  dialog.setAttribute('aria-labelledby', 'or-dialog-title');
  const opener = document.activeElement;
  one('.gradio-container .contain').append(dialog);
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener('close', () => {
    const values = Object.fromEntries(new FormData(form));
    dialog.remove();
    opener?.focus?.({ preventScroll: true });
    resolve(dialog.returnValue ? values : null);
  }));
}

const here = {
  theme() {
    const dark = !document.body.classList.contains('dark');
    localStorage.setItem('theme', dark ? 'dark' : 'light');
    applyTheme();
  },
  'theme-system'() {
    localStorage.removeItem('theme');
    applyTheme();
  },
  drawer: () => body().classList.toggle('or-drawer'),
  'close-source': () => body().classList.remove('or-sheet'),
  dismiss: (button) => button.closest('.or-notice')?.remove(),
  upload: () => one('#upload input[type=file]')?.click(),
};

function applyTheme() {
  const wish = localStorage.getItem('theme');
  const dark = wish ? wish === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  document.body.classList.toggle('dark', dark);
  document.documentElement.style.colorScheme = dark ? 'dark' : 'light'; // scrollbars, checkboxes, lists of choices
}

function showSource(button) {
  document.querySelectorAll('[data-do=quote][aria-current]').forEach((mark) => mark.removeAttribute('aria-current'));
  button.setAttribute('aria-current', 'true');
  body().classList.add('or-sheet');
}

// The next citation (or the one before): of the answers on the page, in the order they are read.
function nextQuote(step) {
  const marks = [...document.querySelectorAll('#thread .or-quote [data-do=quote]')];
  if (!marks.length) return;
  const at = marks.findIndex((mark) => mark.hasAttribute('aria-current'));
  const next = marks[at < 0 ? (step > 0 ? marks.length - 1 : 0) : (at + step + marks.length) % marks.length];
  next.focus();
  next.scrollIntoView({ block: 'nearest' });
  next.click();
}

function keepDraft() {
  document.addEventListener('input', (event) => {
    if (event.target.matches?.('#question textarea')) sessionStorage.setItem('draft', event.target.value);
  });
  const wait = new MutationObserver(() => {
    const box = one('#question textarea');
    if (!box) return;
    wait.disconnect();
    const draft = sessionStorage.getItem('draft');
    if (!draft || box.value) return;
    box.value = draft;
    box.dispatchEvent(new Event('input', { bubbles: true }));
  });
  wait.observe(document.body, { childList: true, subtree: true });
}

function keys(event) {
  const typing = event.target.matches?.('input, textarea, select, [contenteditable]');
  if (event.key === 'Escape' && !one('dialog[open]')) {
    if (body().classList.contains('or-sheet')) body().classList.remove('or-sheet');
    body().classList.remove('or-drawer');
    const stop = one('#stop');
    if (stop?.offsetParent) stop.click();
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey || one('dialog[open]')) return;
  const actions = {
    '/': () => one('#question textarea')?.focus(),
    n: () => nextQuote(1),
    p: () => nextQuote(-1),
  };
  if (actions[event.key]) {
    event.preventDefault();
    actions[event.key]();
  }
}

// Files that are too large are refused here, before hours of sending them; the server refuses them, too.
function refuseTooLarge(event) {
  if (!event.target.closest?.('#upload')) return;
  const files = [...(event.dataTransfer?.files || event.target.files || [])];
  const most = Number(one('[data-most]')?.dataset.most);
  if (!most || files.reduce((sum, file) => sum + file.size, 0) <= most) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (event.target.value) event.target.value = '';
  const line = document.createElement('span');
  line.textContent = `More than ${Math.floor(most / 2 ** 20)} MB at once cannot be taken in: add it in parts.`;
  const close = Object.assign(document.createElement('button'), { className: 'or-button or-close', textContent: '×' });
  close.dataset.here = 'dismiss';
  close.setAttribute('aria-label', 'Close this message');
  const notice = Object.assign(document.createElement('p'), { className: 'or-notice or-error' });
  notice.setAttribute('role', 'alert');
  notice.append(line, close);
  one('#notice .html-container > div')?.replaceChildren(notice);
}
document.addEventListener('change', refuseTooLarge, true);
document.addEventListener('drop', refuseTooLarge, true);

applyTheme();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', applyTheme);
document.addEventListener('keydown', keys);
keepDraft();
window.addEventListener('popstate', () => location.reload());
