// Controls on the page that nothing names.
() => [...document.querySelectorAll('button, a, input:not([type=hidden]), textarea, summary')]
  .filter(e => e.checkVisibility() && !(e.getAttribute('aria-label') || e.innerText?.trim() || e.labels?.length || e.title || e.querySelector('[aria-label]')))
  .map(e => e.outerHTML.slice(0, 120))
