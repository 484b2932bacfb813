// Requests, below the address of the page itself: a proxy may show it under a prefix, with or without a slash at its end.

export const HERE = location.origin + location.pathname.replace(/\/?$/, "/");

export async function ask(path, body) {
  const options = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {};
  const response = await fetch(HERE + path, options);
  const text = await response.text();
  let found;
  try { found = JSON.parse(text); } catch { throw new Error(`the server answered ${response.status}: ${text.slice(0, 200)}`); }
  if (!response.ok) throw new Error(found.error?.message || found.error || `the server answered ${response.status}`);
  return found;
}
