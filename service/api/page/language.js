// Under the POSIX locale Chromium's language is "en-US@posix": no language tag, at which uPlot ends.
try {
  new Intl.NumberFormat(navigator.language);
} catch {
  Object.defineProperty(navigator, "language", { value: "en-US" });
}
