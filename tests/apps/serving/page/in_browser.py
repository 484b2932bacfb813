"""What tests do with the page in a browser: wait, read what it knows, press keys."""

import numpy as np

_STATE = "await import(location.origin + location.pathname.replace(/\\/?$/, '/') + 'page/files/{module}.js')"
_ASK = "(async (given) => {{ const {{ {name} }} = " + _STATE + "; return {expression}; }})"


def known(page, expression, given=None, module="state", name="state"):
    """An expression of the page's `state`, or of what else a script of it exports."""
    return page.evaluate(_ASK.format(expression=expression, module=module, name=name), given)


def until(page, condition, given=None):
    """Waits; playwright's own way evaluates text in the page, which the page's security policy forbids."""
    for _ in range(1000):
        if page.evaluate(condition, given):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"never true: {condition}")


def until_known(page, condition, given=None):
    """The same of `state`."""
    for _ in range(1000):
        if known(page, condition, given):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"never true: {condition}")


def wait_for_numbers(page):
    until(page, "document.querySelector('#summary').textContent.startsWith('Largest')")


def settle(page):
    """Until the server has answered for the last point, and that is drawn."""
    until_known(page, "!state.asking && state.at === state.number")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def choose(page, name):
    """The model, by its list; the summary is awaited anew."""
    page.evaluate("document.querySelector('#summary').textContent = ''")
    page.select_option("#model", name)
    wait_for_numbers(page)
    until_known(page, "state.scale !== null")
    settle(page)


def press(page, key, times=1):
    """A key on what has the focus."""
    for _ in range(times):
        page.keyboard.press(key)
    settle(page)


def fill(page, j, text):
    """A number beside a slider."""
    page.fill(f"#number{j}", text)
    press(page, "Enter")


def pictures(page):
    """Every plot, as its markup."""
    settle(page)
    return page.eval_on_selector_all("[role=img] svg", "all => all.map(one => one.outerHTML)")


def numbers(page):
    return np.array(known(page, "state.answer.observables"))


def parameters(page):
    return np.array(known(page, "state.y"))
