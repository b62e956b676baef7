mod fencing;
mod following;
mod forms;
mod outage;
mod process;
mod sealing;
mod whole;
mod writing;
