/* Runs before the first paint: whoever chose a theme sees no flash of the other. */
(() => {
  try {
    const theme = localStorage.getItem('hubbub.theme');
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
  } catch {
    // Storage is forbidden here: the system's theme it is.
  }
})();
